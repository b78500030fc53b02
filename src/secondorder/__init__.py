"""Learning with curvature.

    E(w) = sum_i s_i loss(f(w; x_i), y_i) + 1/2 sum_j penalty_j w_j^2          objective
    S = f(w; X)                    f is linear, S = X W + b, or a perceptron   models
    G = dE/dS,  H = d2E/dS2        row by row, H_i = diag(d_i) - u_i u_i'      losses
    g = J' G + penalty w           J = dS/dw                                   objective
    B v = J' H J v + penalty v     Gauss-Newton, exact when f is linear        curvature
    A v = B v + (dJ[v])' G         the exact Hessian                           curvature
    A d = -g, inexactly            conjugate gradients, preconditioned         solvers
    w <- w + t d                   line search, trust region or damping        solvers

The estimators are in `secondorder.linear_model` and `secondorder.neural_network`, displays of them in
`secondorder.inspection`.
"""

__version__ = "0.1.0"
